#!/bin/sh
# LocalStack runs this once it is ready: it makes the bucket that localstack-compose.yml names in BUCKET.
set -eu
awslocal s3api create-bucket --bucket "$BUCKET"
