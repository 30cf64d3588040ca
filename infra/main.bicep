// Everything that the app needs in Azure, in a resource group of its own. No parameter and no output is a secret.
targetScope = 'subscription'

@minLength(1)
@maxLength(64)
@description('Name of the environment, such as staging or production. Names of resources derive from it.')
param environmentName string

@minLength(1)
@metadata({ azd: { type: 'location' } })
@description('Region of everything but a second one of the database.')
param location string

@description('Object id of whoever deploys. May set and read the secrets of the vault, which the hook after provisioning makes.')
param principalId string = ''

@allowed([ 'User', 'Group', 'ServicePrincipal' ])
@description('What `principalId` is.')
param principalType string = 'User'

@description('Object id of a person or group who runs `python -m tools.operator`. Empty: nobody. What they may do with data is in roles.json.')
param operatorPrincipalId string = ''

@description('`serverless` (one region, pay per request), or the most request units per second that the database scales to, such as 4000.')
param cosmosThroughput string = 'serverless'

@description('Name of an account that the database was restored into (docs/disaster-recovery.md), in the resource group. Empty: the one that is made.')
param cosmosAccountName string = ''

@description('A second region of the database, which takes over when the first fails. Empty: none. Not with serverless.')
param secondLocation string = ''

@allowed([ 'Continuous7Days', 'Continuous30Days' ])
@description('How far back the database can be restored to.')
param backupTier string = 'Continuous30Days'

@allowed([ 'true', 'false' ])
@description('`true`: database, vault and storage answer in the virtual network only.')
param privateNetwork string = 'false'

@allowed([ 'true', 'false' ])
@description('`true`: database and vault carry a lock against deletion, which has to be removed before `azd down`.')
param locked string = 'true'

@allowed([ 'true', 'false' ])
@description('`true`: database and apps are spread over the zones of their region, which then must have some.')
param zoneRedundant string = 'false'

@allowed([ 'true', 'false' ])
@description('`true`: the key that wraps keys of persons is kept in hardware (the premium tier of the vault). Decided once.')
param hardwareKey string = 'false'

@minLength(1)
@description('What names of ledgers and their keys begin with: a URL of yours without scheme. Chosen once, for good.')
param ledgerOrigin string

@description('Entries of X-Forwarded-For, from the right, that front ends of yours wrote.')
param trustedProxyHops string = '1'

@description('Where an outside witness takes checkpoints. Empty: none is asked.')
param witnessUrl string = ''

@description('The verifier key of the witness, which is public.')
param witnessVkey string = ''

@description('Addresses that alerts are sent to, separated by commas.')
param alertEmails string = ''

@description('A web hook that alerts are posted to (common alert schema), without a secret in it. Empty: none.')
param alertWebhook string = ''

@description('Monthly budget in the currency of the subscription, at 50, 80 and 100 percent of which alerts are sent. 0: none.')
param monthlyBudget string = '0'

@description('First day of the budget, the first of a month (2026-01-01). Set it once and leave it.')
param budgetStart string = ''

@description('Pages of this project, to which alerts point.')
param runbooks string = ''

@description('Days that logs and metrics are kept. They are not the audit trail.')
param logRetentionDays string = '90'

var abbreviations = loadJsonContent('abbreviations.json')
var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
#disable-next-line no-hardcoded-env-urls // the zone of private links of the public cloud; there is no function for it
var zones = [ 'privatelink.documents.azure.com', 'privatelink.vaultcore.azure.net', 'privatelink.blob.${environment().suffixes.storage}' ]
var isPrivate = privateNetwork == 'true'
var publicAccess = isPrivate ? 'Disabled' : 'Enabled'
var isLocked = locked == 'true'
var isZoneRedundant = zoneRedundant == 'true'

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: '${abbreviations.resourceGroup}${environmentName}'
  location: location
  tags: tags
}

module appIdentity 'modules/identity.bicep' = {
  name: 'identity-app'
  scope: group
  params: {
    name: '${abbreviations.managedIdentity}app-${token}'
    location: location
    tags: tags
  }
}

module erasureIdentity 'modules/identity.bicep' = {
  name: 'identity-erasure'
  scope: group
  params: {
    name: '${abbreviations.managedIdentity}erasure-${token}'
    location: location
    tags: tags
  }
}

module network 'modules/network.bicep' = if (isPrivate) {
  name: 'network'
  scope: group
  params: {
    name: '${abbreviations.virtualNetwork}${token}'
    location: location
    tags: tags
  }
}

module telemetry 'modules/telemetry.bicep' = {
  name: 'telemetry'
  scope: group
  params: {
    workspaceName: '${abbreviations.logWorkspace}${token}'
    componentName: '${abbreviations.applicationInsights}${token}'
    actionGroupName: '${abbreviations.actionGroup}${token}'
    location: location
    tags: tags
    retentionDays: int(logRetentionDays)
    alertEmails: alertEmails
    alertWebhook: alertWebhook
    publishers: [ appIdentity.outputs.principalId, erasureIdentity.outputs.principalId ]
  }
}

module database 'modules/cosmos.bicep' = {
  name: 'database'
  scope: group
  params: {
    name: empty(cosmosAccountName) ? '${abbreviations.cosmosAccount}${token}' : cosmosAccountName
    location: location
    secondLocation: secondLocation
    tags: tags
    throughput: cosmosThroughput
    backupTier: backupTier
    isZoneRedundant: isZoneRedundant
    publicAccess: publicAccess
    isLocked: isLocked
    workspaceId: telemetry.outputs.workspaceId
  }
}

module grants 'modules/grants.bicep' = {
  name: 'grants'
  scope: group
  params: {
    accountName: database.outputs.name
    appPrincipalId: appIdentity.outputs.principalId
    erasurePrincipalId: erasureIdentity.outputs.principalId
    operatorPrincipalId: operatorPrincipalId
  }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    name: '${abbreviations.keyVault}${token}'
    location: location
    tags: tags
    publicAccess: publicAccess
    isHardware: hardwareKey == 'true'
    isLocked: isLocked
    readers: [ appIdentity.outputs.principalId, erasureIdentity.outputs.principalId ]
    officerId: principalId
    officerType: principalType
    operatorId: operatorPrincipalId
    workspaceId: telemetry.outputs.workspaceId
  }
}

var settings = {
  COSMOS_DB_ENDPOINT: database.outputs.endpoint
  COSMOS_DB_NAME: database.outputs.databaseName
  KEY_VAULT_URI: vault.outputs.uri
  LEDGER_ORIGIN: ledgerOrigin
  TRUSTED_PROXY_HOPS: trustedProxyHops
}
var witness = empty(witnessUrl) ? {} : { LEDGER_WITNESS_URL: witnessUrl, LEDGER_WITNESS_VKEY: witnessVkey }
var feed = { COSMOS_DB__accountEndpoint: database.outputs.endpoint, COSMOS_DB__credential: 'managedidentity', COSMOS_DB__clientId: appIdentity.outputs.clientId }

module app 'modules/function-app.bicep' = {
  name: 'function-app'
  scope: group
  params: {
    name: '${abbreviations.functionApp}${token}'
    planName: '${abbreviations.functionPlan}${token}'
    storageName: '${abbreviations.storageAccount}${token}'
    location: location
    tags: tags
    serviceName: 'api'
    role: 'app'
    isOpen: true
    identityName: appIdentity.outputs.name
    componentName: telemetry.outputs.componentName
    workspaceId: telemetry.outputs.workspaceId
    isZoneRedundant: isZoneRedundant
    publicAccess: publicAccess
    subnetId: isPrivate ? network.outputs.appSubnetId : ''
    maximumInstances: 100
    settings: union(settings, witness, feed)
  }
}

module erasure 'modules/function-app.bicep' = {
  name: 'function-app-erasure'
  scope: group
  params: {
    name: '${abbreviations.functionApp}erasure-${token}'
    planName: '${abbreviations.functionPlan}erasure-${token}'
    storageName: '${abbreviations.storageAccount}e${token}'
    location: location
    tags: tags
    serviceName: 'erasure'
    role: 'erasure'
    isOpen: false
    identityName: erasureIdentity.outputs.name
    componentName: telemetry.outputs.componentName
    workspaceId: telemetry.outputs.workspaceId
    isZoneRedundant: isZoneRedundant
    publicAccess: publicAccess
    subnetId: isPrivate ? network.outputs.erasureSubnetId : ''
    maximumInstances: 40
    settings: settings
  }
}

module endpoints 'modules/private-endpoints.bicep' = if (isPrivate) {
  name: 'private-endpoints'
  scope: group
  params: {
    location: location
    tags: tags
    prefix: abbreviations.privateEndpoint
    networkId: isPrivate ? network.outputs.id : ''
    subnetId: isPrivate ? network.outputs.endpointSubnetId : ''
    targets: [
      { name: 'database', id: database.outputs.id, group: 'Sql', zone: zones[0] }
      { name: 'vault', id: vault.outputs.id, group: 'vault', zone: zones[1] }
      { name: 'storage', id: app.outputs.storageId, group: 'blob', zone: zones[2] }
      { name: 'storage-erasure', id: erasure.outputs.storageId, group: 'blob', zone: zones[2] }
    ]
    zones: zones
  }
}

module monitoring 'monitoring/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    location: location
    tags: tags
    workspaceId: telemetry.outputs.workspaceId
    componentId: telemetry.outputs.componentId
    actionGroupId: telemetry.outputs.actionGroupId
    appUrl: app.outputs.url
    appPrincipalId: appIdentity.outputs.principalId
    erasurePrincipalId: erasureIdentity.outputs.principalId
    runbooks: runbooks
  }
}

module budget 'modules/budget.bicep' = if (int(monthlyBudget) > 0) {
  name: 'budget'
  scope: group
  params: {
    name: 'budget-${environmentName}'
    amount: int(monthlyBudget)
    start: budgetStart
    actionGroupId: telemetry.outputs.actionGroupId
  }
}

output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_KEY_VAULT_NAME string = vault.outputs.name
output COSMOS_DB_ENDPOINT string = database.outputs.endpoint
output SERVICE_API_NAME string = app.outputs.name
output SERVICE_API_URI string = app.outputs.url
output SERVICE_ERASURE_NAME string = erasure.outputs.name
