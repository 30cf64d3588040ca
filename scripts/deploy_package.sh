#!/bin/sh
# Deploy one package, built before (`make package`), to both apps of the azd environment. The argument is its folder.
# It provisions nothing. Azure installs requirements.txt on the way (a remote build), by the hashes that it pins.
set -eu
folder=${1:?the folder of package.zip and package.zip.sha256}
(cd "$folder" && sha256sum --check --strict --quiet package.zip.sha256)
copies=$(mktemp -d)
trap 'rm -rf "$copies"' EXIT
for service in erasure api; do # the one that nobody calls first
    cp "$folder/package.zip" "$copies/$service.zip" # azd removes what it has deployed
    azd deploy "$service" --from-package "$copies/$service.zip" --no-prompt
done
