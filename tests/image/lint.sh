#!/usr/bin/env bash
# Linters and schemas over the image's files; $1 is the folder with the programs of requirements.txt.
set -euo pipefail
BIN=$(realpath "${1:?the folder of the linters}")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
set -x
"$BIN/hadolint" Dockerfile Dockerfile.gpu
"$BIN/shellcheck" --shell=bash entrypoint.sh build_and_test.sh tests/image/*.sh  .ci/run
"$BIN/yamllint" --strict --config-data '{extends: default, rules: {line-length: {max: 180}, document-start: disable,
    braces: disable, brackets: disable, comments: {min-spaces-from-content: 1}, indentation: {indent-sequences: whatever}}}' \
    environment.yml docker-compose.ml.yml deploy
"$BIN/check-jsonschema" --schemafile tests/image/environment.schema.json environment.yml
"$BIN/python" tests/image/specs.py environment.yml
"$BIN/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/*.yml
"$BIN/check-jsonschema" --builtin-schema vendor.compose-spec docker-compose.ml.yml
"$BIN/docker-compose" --file docker-compose.ml.yml --profile '*' config --quiet
for manifest in deploy/kubernetes/base/[!k]*.yaml deploy/kubernetes/models/{claim,filler}.yaml deploy/kubernetes/jobs/claim.yaml; do "$BIN/kubernetes-validate" -k 1.30 --strict "$manifest"; done
