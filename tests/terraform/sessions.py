"""Sessions of MinIO that a policy binds, as roles are bound on AWS."""

import json
from typing import Any

import boto3

from tests.parts.servers import S3Server

Policy = dict[str, Any]


def session_with(server: S3Server, policy: Policy) -> boto3.Session:
    """Temporary credentials that may do what the policy allows of S3, and nothing else."""
    sts = server.session.client("sts", endpoint_url=server.endpoint)
    role = "arn:aws:iam::111122223333:role/registry"
    found = sts.assume_role(RoleArn=role, RoleSessionName="gateway", Policy=json.dumps(policy))["Credentials"]
    sts.close()
    return boto3.Session(
        found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"], region_name=server.region
    )


def environment_of(session: boto3.Session) -> dict[str, str]:
    """The environment in which any AWS client takes the session's credentials."""
    credentials = session.get_credentials()
    assert credentials is not None
    return {
        "AWS_ACCESS_KEY_ID": credentials.access_key or "",
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key or "",
        "AWS_SESSION_TOKEN": credentials.token or "",
    }
