# After provisioning: make the root secrets that the vault does not have yet. What is there stays, whatever it is.
# Values are made here, pass through a temporary file of this user, and are never shown.
$ErrorActionPreference = 'Stop'
$vault = $env:AZURE_KEY_VAULT_NAME
if (-not $vault) { throw 'AZURE_KEY_VAULT_NAME is an output of infra/main.bicep' }

foreach ($name in 'kraftd-tokens', 'kraftd-index', 'kraftd-ledger') {
    for ($attempt = 1; ; $attempt++) {
        $found = az keyvault secret list --vault-name $vault --query "[?name=='$name'].name" --output tsv
        if ($LASTEXITCODE -eq 0) { break }
        if ($attempt -eq 10) { throw 'secrets: the vault does not let us list its secrets' }
        Start-Sleep -Seconds 30  # a role that was assigned a moment ago is not known everywhere yet
    }
    if ($found) { Write-Output "secrets: $name is there"; continue }
    $bytes = [System.Security.Cryptography.RandomNumberGenerator]::GetBytes(32)
    $file = New-TemporaryFile
    try {
        [System.IO.File]::WriteAllText($file.FullName, [Convert]::ToBase64String($bytes))
        az keyvault secret set --vault-name $vault --name $name --file $file.FullName --encoding utf-8 --output none
        if ($LASTEXITCODE -ne 0) { throw "secrets: $name could not be made" }
        Write-Output "secrets: $name made"
    }
    finally { Remove-Item $file.FullName }
}
