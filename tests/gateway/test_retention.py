"""`moorage retention`: policies, runs and dry runs, as text and as JSON, and what is wrong in one sentence."""

import asyncio
import json
import re
import secrets
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.retention import retention as group
from storage.objects.embedded import EmbeddedStore
from storage.records import changed, decode_manifest, encode_manifest
from storage.retention.policy_files import parse
from tests.protocol.serving import Clock, Nonces, World

ROOT = Path(__file__).parents[2]
STORE = "file:registry"
pytestmark = pytest.mark.usefixtures("elsewhere")

POLICY = """\
name: ci
repositories: ["**"]
status: ACTIVE
rules:
- tag_regexp: test.*
  expire_period: 24h
"""


def retention(*arguments: str, store: str = STORE) -> Result:
    """What the command prints, and how it ends: without a traceback."""
    result = CliRunner().invoke(main, ["retention", *arguments, "--store", store])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result


def done(*arguments: str) -> str:
    """What it prints when all is well."""
    result = retention(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def in_json(*arguments: str) -> Any:
    """One document."""
    return json.loads(done(*arguments, "--json"))


def refused(*arguments: str) -> str:
    """What it says is wrong: one sentence, with exit code 1."""
    result = retention(*arguments)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    return result.output.removeprefix("Error: ").strip()


@pytest.fixture
def registry(elsewhere: None) -> None:
    """A registry with two images that were pushed years ago."""

    async def fill() -> None:
        clock = Clock()
        clock.now = time.time()
        store = await EmbeddedStore.open(Path("registry"), clock, Nonces())
        async with World(store, clock).gateway() as api:
            for tag in ("test-1", "prod"):
                await api.image("ci/app", tag, tag)
        async for info in store.list("repositories/ci/app/_manifests/"):
            decoded = decode_manifest(await store.get(info.key))
            assert decoded is not None
            await store.put(info.key, encode_manifest(changed(decoded[0], pushed_at=1_600_000_000), decoded[1]))
        await store.close()

    asyncio.run(fill())


def damage(key: str) -> None:
    """Put something else in place of a record."""

    async def put() -> None:
        store = await EmbeddedStore.open(Path("registry"), Clock(), partial(secrets.token_hex, 8))
        await store.put(key, b"{}")
        await store.close()

    asyncio.run(put())


@pytest.mark.usefixtures("registry")
def test_a_policy_from_its_file_to_its_end() -> None:
    """Set, list, show, apply and remove."""
    assert done("list") == ""
    Path("p.yaml").write_text(POLICY)
    assert done("set", "p.yaml") == "ci is ACTIVE\n"
    assert done("list") == "ci  ACTIVE    1 rule  **\n"
    shown = done("show", "ci")
    assert parse(shown, "shown.yaml") == parse(POLICY, "p.yaml")
    [policy] = in_json("list")["policies"]
    assert policy == in_json("show", "ci")
    assert policy["rules"] == [{"tag_regexp": "test.*", "expire_period": "1d"}]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", policy["modified"])
    output = done("run")
    assert re.search(
        r"^condemn manifest ci/app@sha256:\w+, .*: rule 1: 1d old or older \(policy ci\)$", output, re.MULTILINE
    )
    assert in_json("run")["removals"] == []
    assert done("remove", "ci") == "ci is removed\n"
    assert done("list") == ""


@pytest.mark.usefixtures("registry")
def test_dry_runs() -> None:
    """Kept and read again, as text and as JSON; of a policy that is not active, by its name."""
    Path("p.toml").write_text(
        'name = "x"\nrepositories = ["ci/*"]\n[[rules]]\ntag_regexp = ".*"\nexpire_period = "24h"\ndescription = "Old"\n'
    )
    assert done("set", "p.toml") == "x is DISABLED\n"
    assert refused("run", "--policy", "x") == "the policy x is DISABLED: a dry run shows what it would do"
    assert "0 images would go, 0 B, by no policy\n" in done("run", "--dry-run")
    text = done("run", "--dry-run", "--policy", "x")
    assert (
        len(
            re.findall(
                r"^ci/app@sha256:\w{64} \((?:test-1|prod)\), \d+ B: rule 1 \(Old\): 1d old or older$",
                text,
                re.MULTILINE,
            )
        )
        == 2
    )
    found = re.search(
        r"^a dry run: nothing was changed; it can be read again by `moorage retention dry-run (\S+)`$",
        text,
        re.MULTILINE,
    )
    assert found is not None
    assert done("dry-run", found[1]) == text[: text.index("a dry run:")]
    document = in_json("dry-run", found[1])
    assert {image["tags"][0] for image in document["images"]} == {"test-1", "prod"}
    assert {image["repository"] for image in document["images"]} == {"ci/app"}
    assert (document["id"], document["policies"], document["problems"]) == (found[1], ["x"], [])
    summaries = in_json("dry-runs")["dryRuns"]
    assert sorted((each["images"], each["policies"]) for each in summaries) == [(0, []), (2, ["x"])]
    lines = done("dry-runs").splitlines()  # by the second, so that these two may come in any order
    assert [line.startswith(f"{found[1]}  20") for line in sorted(lines, key=lambda line: " 2 images" in line)] == [
        False,
        True,
    ]
    assert refused("dry-run", "x") == "there is no dry run x"


@pytest.mark.usefixtures("registry")
def test_a_dry_run_that_was_damaged() -> None:
    """Exit code 1, and it is named, after the others."""
    done("run", "--dry-run")
    key = f"retention/dry-runs/{in_json('dry-runs')['dryRuns'][0]['id']}"
    done("run", "--dry-run")
    damage(key)
    for how in ([], ["--json"]):
        result = retention("dry-runs", *how)
        assert result.exit_code == 1
        assert result.stderr.startswith(f"problem: {key}: ")
    document = json.loads(result.stdout)
    assert [each["images"] for each in document["dryRuns"]] == [0]
    assert document["error"] is None
    assert document["problems"][0].startswith(f"{key}: ")


@pytest.mark.usefixtures("registry")
def test_a_policy_that_matches_everything_asks_for_yes() -> None:
    """It is not taken without; nor is anything else in its file."""
    greedy = POLICY.replace("test.*", "'.*'")
    Path("p.yaml").write_text(greedy)
    assert refused("set", "p.yaml") == "p.yaml: ci is about every tag of every repository; say --yes if that is meant"
    assert done("list") == ""
    assert done("set", "p.yaml", "--yes") == "ci is ACTIVE\n"


@pytest.mark.usefixtures("registry")
def test_what_is_wrong_is_a_sentence() -> None:
    """With file and line, where there is one; nothing is changed."""
    Path("p.yaml").write_text(POLICY.replace("24h", "25h"))
    assert refused("set", "p.yaml") == "p.yaml, line 6: expire_period is a multiple of 24h, not 25h"
    Path("p.yaml").write_text(POLICY.replace("test.*", "'('"))
    assert refused("set", "p.yaml").startswith("p.yaml, line 5: a regular expression of RE2, not '(': ")
    Path("p.yaml").write_text(POLICY.replace("rules", "rule"))
    assert refused("set", "p.yaml").startswith("p.yaml, line 4: there is no field 'rule', but name, ")
    Path("p.yaml").write_bytes(b"\xff")
    assert refused("set", "p.yaml") == "p.yaml cannot be read: it is no UTF-8"
    assert refused("set", "missing.yaml") == "missing.yaml cannot be read: No such file or directory"
    assert refused("show", "x") == refused("remove", "x") == "there is no policy x"
    assert refused("run", "--policy", "x") == "there is no policy x"
    Path("p.yaml").write_text(POLICY)
    done("set", "p.yaml")
    Path("q.yaml").write_text(POLICY.replace("name: ci", "name: other"))
    assert refused("set", "q.yaml").endswith("would both be active for **: a repository has one active policy")


@pytest.mark.usefixtures("registry")
def test_a_single_writer() -> None:
    """A run writes what gateways write, so that it wants none beside it there; a dry run does not."""
    said = "--single-writer: a gateway that serves is another writer; stop it, and say --offline"
    assert refused("run", "--single-writer") == said
    assert done("run", "--single-writer", "--offline") == "nothing to remove\n"
    assert "0 images would go" in done("run", "--single-writer", "--dry-run")
    assert done("list", "--single-writer") == ""


def test_a_store_that_is_not_there() -> None:
    """No command makes one."""
    for command in (["list"], ["run"], ["dry-runs"], ["show", "x"]):
        assert refused(*command).startswith("--store file:registry: ")
    assert not Path("registry").exists()
    assert retention("list", store="memory:").exit_code == 1


@pytest.mark.usefixtures("registry")
def test_a_repository_that_cannot_be_judged() -> None:
    """Exit code 1, and it is named; in JSON too."""
    Path("p.yaml").write_text(POLICY)
    done("set", "p.yaml")
    damage("repositories/ci/app/_tags/prod")
    for how in ([], ["--dry-run"]):
        result = retention("run", *how)
        assert result.exit_code == 1
        assert re.search(
            r"^problem: repositories/ci/app/_tags/prod: .*; so nothing of the repository ci/app was judged$",
            result.stderr,
            re.MULTILINE,
        )
        problems = json.loads(retention("run", *how, "--json").stdout)["problems"]
        assert len(problems) == 1


def test_the_example_in_the_documentation() -> None:
    """docs/retention.md has one policy, in TOML and in YAML, and names every field."""
    page = (ROOT / "docs" / "retention.md").read_text("utf-8")
    [toml] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    [yaml] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    [policy] = parse(toml, "x.toml")
    assert [policy] == parse(yaml, "x.yaml")
    assert not policy.matches_everything
    fields = {*policy.__struct_fields__, *policy.rules[0].__struct_fields__}
    assert fields == set(re.findall(r"^\| `(\w+)` \| ", page, re.MULTILINE))
    commands = set(re.findall(r"^moorage retention ([\w-]+)", page, re.MULTILINE))
    assert commands == set(group.commands)
