// The vault: the key that wraps persons' keys is made here; the root secrets are made by the hook after provisioning,
// in the vault, so that no value of one passes through a template.
param name string
param location string
param tags object

@allowed([ 'Enabled', 'Disabled' ])
@description('Whether it answers outside of the virtual network.')
param publicAccess string

@description('Whether the key is kept in hardware (the premium tier). Decided once.')
param isHardware bool
param isLocked bool

@description('Principals of the function apps: they get secrets, wrap and unwrap, and change nothing.')
param readers array

@description('Whoever deploys, and creates the secrets. Empty: nobody.')
param officerId string
param officerType string

@description('Whoever runs the command line of operators. Empty: nobody.')
param operatorId string
param workspaceId string

var secretsUser = '4633458b-17de-408a-b874-0445c86b69e6'
var encryptionUser = 'e147488a-f6f5-4113-8e2d-b22465e65bf6'
var secretsOfficer = 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7'

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' = {
  //checkov:skip=CKV_AZURE_109:By parameter: closed to the internet where PRIVATE_NETWORK is true; otherwise roles decide
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: isHardware ? 'premium' : 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: true
    publicNetworkAccess: publicAccess
    networkAcls: {
      bypass: 'None'
      defaultAction: publicAccess == 'Disabled' ? 'Deny' : 'Allow'
    }
  }
}

resource persons 'Microsoft.KeyVault/vaults/keys@2025-05-01' = {
  //checkov:skip=CKV_AZURE_112:By parameter (HARDWARE_KEY): the premium tier costs more
  //checkov:skip=CKV_AZURE_40:A key that has expired wraps nothing, and no person could be registered; it is rotated by hand or policy (docs/secrets.md)
  parent: vault
  name: 'kraftd-persons'
  properties: {
    kty: isHardware ? 'RSA-HSM' : 'RSA'
    keySize: 2048
    keyOps: [ 'wrapKey', 'unwrapKey' ]
  }
}

resource mayRead 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for reader in readers: {
  name: guid(vault.id, reader, secretsUser)
  scope: vault
  properties: {
    principalId: reader
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', secretsUser)
  }
}]

resource mayUnwrap 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for reader in readers: {
  name: guid(vault.id, reader, encryptionUser)
  scope: vault
  properties: {
    principalId: reader
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', encryptionUser)
  }
}]

resource mayCreate 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(officerId)) {
  name: guid(vault.id, officerId, secretsOfficer)
  scope: vault
  properties: {
    principalId: officerId
    principalType: officerType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', secretsOfficer)
  }
}

resource operatorMayRead 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(operatorId)) {
  name: guid(vault.id, operatorId, 'operator', secretsUser)
  scope: vault
  properties: {
    principalId: operatorId
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', secretsUser)
  }
}

resource operatorMayUnwrap 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(operatorId)) {
  name: guid(vault.id, operatorId, 'operator', encryptionUser)
  scope: vault
  properties: {
    principalId: operatorId
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', encryptionUser)
  }
}

resource kept 'Microsoft.Authorization/locks@2020-05-01' = if (isLocked) {
  name: 'kept'
  scope: vault
  properties: {
    level: 'CanNotDelete'
    notes: 'Without the secret kraftd-index no account is found any more.'
  }
}

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'logs'
  scope: vault
  properties: {
    workspaceId: workspaceId
    logs: [ { categoryGroup: 'audit', enabled: true } ]
    metrics: [ { category: 'AllMetrics', enabled: true } ]
  }
}

output id string = vault.id
output name string = vault.name
output uri string = vault.properties.vaultUri
