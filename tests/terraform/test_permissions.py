"""The policy that the module renders is exactly what moorage needs: each action is taken away, and something breaks.

MinIO holds every request to the policy, given as the policy of a session. Two things that AWS documents no server here does, so a proxy in
front of MinIO answers for it: S3 uses the KMS key on behalf of whoever asks, and tells only who may list a bucket that a key is missing.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import boto3
import httpx
import pytest

from storage.errors import Denied, StoreError
from storage.objects.opening import Opening, open_store
from storage.objects.s3 import S3Store
from tests.parts.servers import S3Server
from tests.parts.stores import STORES
from tests.parts.wire import Exchange, Wire, status, wire
from tests.terraform.commands import copied
from tests.terraform.operations import OPERATIONS, Scene, Switched, keeper_of, world_of
from tests.terraform.readme import PAGE, section
from tests.terraform.sessions import Policy, environment_of, session_with

START = "starting a gateway"
KEY = "arn:aws:kms:us-east-1:111122223333:key/registry"
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html: what each request needs.
ACTIONS = {
    "ABORT": {"s3:AbortMultipartUpload"},
    "COMPLETE": {"s3:PutObject"},
    "COPY": {"s3:GetObject", "s3:PutObject"},
    "CREATE": {"s3:PutObject"},
    "DELETE": {"s3:DeleteObject"},
    "GET": {"s3:GetObject"},
    "HEAD": {"s3:GetObject"},
    "LIST": {"s3:ListBucket"},
    "PART": {"s3:PutObject"},
    "POST": {"s3:DeleteObject"},
    "PUT": {"s3:PutObject"},
    "UPLOADS": {"s3:ListBucketMultipartUploads"},
}
# That a missing key is a secret: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html#API_GetObject_Permissions
# The key: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html, and of multipart uploads
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html#mpuAndPermissions
KMS_ACTIONS = {
    "COPY": {"kms:Decrypt", "kms:GenerateDataKey"},
    "CREATE": {"kms:Decrypt", "kms:GenerateDataKey"},
    "GET": {"kms:Decrypt"},
    "PART": {"kms:Decrypt", "kms:GenerateDataKey"},
    "PUT": {"kms:GenerateDataKey"},
}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """What the module renders for a registry in a bucket that is encrypted with a key."""
    terraform = copied(tmp_path_factory.mktemp("policy"), "modules/policy")
    terraform.run("init", "-input=false")
    given = {"bucket_arn": "arn:aws:s3:::shared", "prefix": "team/registry", "use_kms": "true", "kms_key_arn": KEY}
    terraform.run("apply", "-auto-approve", *(f"-var={name}={value}" for name, value in given.items()))
    rendered: Policy = json.loads(terraform.outputs()["json"])
    return rendered


@dataclass(frozen=True)
class Trial:
    """What broke under a policy, and the actions that the requests needed."""

    broken: list[str]
    needed: set[str]


@pytest.mark.xdist_group("minio")
async def test_the_policy_is_exactly_what_moorage_needs(
    minio_server: S3Server, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the whole policy all works; without any one action something breaks, as terraform/README.md says; and no request needs another."""
    actions = actions_of(policy)
    assert len(actions) == len(set(actions)) == 8
    whole, *others = await asyncio.gather(*(_tried(minio_server, policy, without) for without in ("", *actions)))
    starts = [await _started(minio_server, policy, without, monkeypatch) for without in ("", *actions)]
    assert (starts[0], whole.broken) == ("", [])
    assert whole.needed == set(actions)
    rows = []
    for action, trial, said in zip(actions, others, starts[1:], strict=True):
        assert not said or f"lacks {action} on the bucket" in said
        rows.append(_row(action, [*([START] if said else []), *trial.broken]))
    table = "\n".join(["| action | on | without it these fail |", "|---|---|---|", *rows]) + "\n"
    assert section(PAGE.read_text("utf-8"), "permissions") == table, table


def actions_of(policy: Policy) -> list[str]:
    """All actions that a policy allows."""
    return [action for statement in policy["Statement"] for action in statement["Action"]]


def _row(action: str, broken: Sequence[str]) -> str:
    assert broken, f"{action} is in the policy, and nothing needs it"
    on = "the key" if action.startswith("kms:") else "the bucket" if "List" in action else "the prefix's objects"
    return f"| `{action}` | {on} | {', '.join(broken)} |"


async def _tried(server: S3Server, policy: Policy, without: str) -> Trial:
    """What breaks of a registry that runs if an action is taken away, each operation on its own."""
    prefix = f"team/registry/{secrets.token_hex(8)}"
    async with wire(server.endpoint) as proxy, AsyncExitStack() as stack:
        owner = await _store(stack, server.session, server.endpoint, prefix)
        switched = Switched(owner)
        world = world_of(switched)
        keeper = await keeper_of(world)
        api = await stack.enter_async_context(world.gateway(redirect=True))
        scene = Scene(api, keeper, world.store, owner)
        await scene.prepare()
        switched.current = await _store(stack, _session(server, policy, without), proxy.endpoint, prefix)
        _answer_as_aws(proxy, policy, without)
        broken = [name for name, operation in OPERATIONS.items() if await _fails(operation(scene), proxy)]
        kinds = proxy.counts()
    needed = {action for kind in kinds for action in ACTIONS[kind] | KMS_ACTIONS.get(kind, set())}
    return Trial(broken, needed)


async def _fails(operation: Awaitable[None], proxy: Wire) -> bool:
    """Whether an operation fails, which it MUST for a lack of permissions alone."""
    passed = len(proxy.exchanges)
    try:
        await operation
    except Denied:  # within a successful answer too, as to the removal of many objects
        return True
    except (AssertionError, StoreError):
        assert httpx.codes.FORBIDDEN in {exchange.status for exchange in proxy.exchanges[passed:]}
        return True
    return False


async def _started(server: S3Server, policy: Policy, without: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Why no gateway starts with the policy if an action is taken away; empty if one does."""
    own = environment_of(_session(server, policy, without))
    async with wire(server.endpoint) as proxy:
        _answer_as_aws(proxy, policy, without)
        for name, value in (server.env | own | {"AWS_ENDPOINT_URL_S3": proxy.endpoint}).items():
            monkeypatch.setenv(name, value)
        url = f"s3://{server.bucket}/team/registry/{secrets.token_hex(8)}"
        try:
            store = await open_store(url, Opening(time.time, lambda: secrets.token_hex(8)))
        except Denied as error:
            return str(error)
        await store.close()
    return ""


def _session(server: S3Server, policy: Policy, without: str) -> boto3.Session:
    """Credentials that may do what the policy allows of S3, but for one action."""
    statements = [
        statement | {"Action": [action for action in statement["Action"] if action != without]}
        for statement in policy["Statement"]
        if statement["Action"] != [without] and statement["Resource"] != [KEY]
    ]
    return session_with(server, policy | {"Statement": statements})


def _answer_as_aws(proxy: Wire, policy: Policy, without: str) -> None:
    """Refuse what S3 would need the key for and may not, and do not tell of a missing key if the bucket may not be listed."""
    allowed = set(actions_of(policy)) - {without}

    def refuse(exchange: Exchange, action: str) -> bytes:
        exchange.status = httpx.codes.FORBIDDEN
        message = (
            f"User: arn:aws:sts::111122223333:assumed-role/registry/gateway is not authorized to perform: {action}"
        )
        return status(httpx.codes.FORBIDDEN, "AccessDenied", message)

    def instead(exchange: Exchange) -> bytes | None:
        lacking = sorted(KMS_ACTIONS.get(exchange.kind, set()) - allowed)
        return refuse(exchange, lacking[0]) if lacking else None

    def lose(exchange: Exchange) -> bytes | None:
        is_secret = (
            exchange.kind == "GET" and exchange.status == httpx.codes.NOT_FOUND and "s3:ListBucket" not in allowed
        )
        return refuse(exchange, "s3:ListBucket") if is_secret else None

    proxy.instead, proxy.lose = instead, lose


async def _store(stack: AsyncExitStack, session: boto3.Session, endpoint: str, prefix: str) -> S3Store:
    store = S3Store(
        "shared",
        prefix,
        clock=time.time,
        session=session,
        endpoint=endpoint,
        capabilities=STORES["minio"].traits.capabilities,
    )
    stack.push_async_callback(store.close)
    return store
