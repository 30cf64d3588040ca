// The database: account, containers as shared/storage/containers.py declares them (containers.json is generated from
// it), and its logs. Who may do what with data is in grants.bicep.
param name string
param location string
param secondLocation string
param tags object

@description('`serverless`, or the most request units per second.')
param throughput string

@allowed([ 'Continuous7Days', 'Continuous30Days' ])
param backupTier string

@allowed([ 'Enabled', 'Disabled' ])
@description('Whether it answers outside of the virtual network.')
param publicAccess string
param isZoneRedundant bool
param isLocked bool
param workspaceId string

var containers = loadJsonContent('../containers.json')
var isServerless = throughput == 'serverless'
var primary = [ { locationName: location, failoverPriority: 0, isZoneRedundant: isZoneRedundant } ]
// Cosmos DB itself refuses a second region of a serverless account.
var secondary = empty(secondLocation) ? [] : [ { locationName: secondLocation, failoverPriority: 1, isZoneRedundant: isZoneRedundant } ]

resource account 'Microsoft.DocumentDB/databaseAccounts@2025-10-15' = {
  //checkov:skip=CKV_AZURE_101:By parameter: closed to the internet where PRIVATE_NETWORK is true; no key is taken in any case
  name: name
  location: location
  tags: tags
  kind: 'GlobalDocumentDB'
  properties: {
    databaseAccountOfferType: 'Standard'
    locations: concat(primary, secondary)
    capabilities: isServerless ? [ { name: 'EnableServerless' } ] : []
    consistencyPolicy: { defaultConsistencyLevel: 'Strong' }
    enableAutomaticFailover: !empty(secondLocation)
    enableMultipleWriteLocations: false
    disableLocalAuth: true
    disableKeyBasedMetadataWriteAccess: true
    minimalTlsVersion: 'Tls12'
    publicNetworkAccess: publicAccess
    networkAclBypass: 'None'
    backupPolicy: {
      type: 'Continuous'
      continuousModeProperties: { tier: backupTier }
    }
  }
}

resource database 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases@2025-10-15' = {
  parent: account
  name: 'kraftd_audit'
  properties: {
    resource: { id: 'kraftd_audit' }
    options: isServerless ? {} : { autoscaleSettings: { maxThroughput: int(throughput) } }
  }
}

@batchSize(1)
resource container 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers@2025-10-15' = [for each in containers: {
  parent: database
  name: each.id
  properties: {
    resource: each
  }
}]

resource kept 'Microsoft.Authorization/locks@2020-05-01' = if (isLocked) {
  name: 'kept'
  scope: account
  properties: {
    level: 'CanNotDelete'
    notes: 'The audit trail of every tenant.'
  }
}

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'logs'
  scope: account
  properties: {
    workspaceId: workspaceId
    logAnalyticsDestinationType: 'Dedicated'
    logs: [
      { category: 'DataPlaneRequests', enabled: true }
      { category: 'PartitionKeyRUConsumption', enabled: true }
      { category: 'ControlPlaneRequests', enabled: true }
    ]
    metrics: [ { category: 'Requests', enabled: true } ]
  }
}

output id string = account.id
output name string = account.name
output endpoint string = account.properties.documentEndpoint
output databaseName string = database.name
