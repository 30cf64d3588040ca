#!/bin/sh
# After provisioning: make the root secrets that the vault does not have yet. What is there stays, whatever it is.
# Values are made here, pass through a file that only this user reads, and are never shown.
set -eu
: "${AZURE_KEY_VAULT_NAME:?is an output of infra/main.bicep}"
umask 077
value=$(mktemp)
answer=$(mktemp)
trap 'rm -f "$value" "$answer"' EXIT

# In a workflow of GitHub nobody is signed in to az. Now is the time: such a sign-in lasts for minutes, and provisioning
# takes longer. Who the job is, is asked anew.
if [ -n "${ACTIONS_ID_TOKEN_REQUEST_URL:-}" ]; then
    printf 'Authorization: bearer %s' "$ACTIONS_ID_TOKEN_REQUEST_TOKEN" |
        curl --silent --show-error --fail --retry 3 --header @- --output "$answer" \
            "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=api://AzureADTokenExchange"
    python3 -c 'import json, sys; sys.stdout.write(json.load(sys.stdin)["value"])' <"$answer" >"$value"
    az login --service-principal --username "${AZURE_CLIENT_ID:?of the federated credential}" \
        --tenant "${AZURE_TENANT_ID:?of the federated credential}" --federated-token "$(cat "$value")" \
        --allow-no-subscriptions --output none
fi

for name in kraftd-tokens kraftd-index kraftd-ledger; do
    # Not by `show`, which answers alike for a secret that is missing and one whose newest version is disabled.
    attempt=0
    until az keyvault secret list --vault-name "$AZURE_KEY_VAULT_NAME" --query "[?name=='$name'].name" --output tsv >"$answer"; do
        attempt=$((attempt + 1)) # a role that was assigned a moment ago is not known everywhere yet
        [ "$attempt" -lt 10 ] || { echo "secrets: the vault does not let us list its secrets" >&2; exit 1; }
        sleep 30
    done
    if [ -s "$answer" ]; then
        echo "secrets: $name is there"
        continue
    fi
    openssl rand -base64 32 | tr -d '\n' >"$value"
    az keyvault secret set --vault-name "$AZURE_KEY_VAULT_NAME" --name "$name" --file "$value" --encoding utf-8 --output none
    echo "secrets: $name made"
done
