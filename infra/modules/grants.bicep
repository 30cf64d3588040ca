// Who may do what with data: roles.json says it for each container, a test holds it to what the code does. No one
// but the erasure app may replace an event, and nobody may delete one.
param accountName string
param appPrincipalId string
param erasurePrincipalId string

@description('Empty: nobody.')
param operatorPrincipalId string

var declared = loadJsonContent('../roles.json')
var operatorGrants = empty(operatorPrincipalId) ? [] : declared.grants.operator

resource account 'Microsoft.DocumentDB/databaseAccounts@2025-10-15' existing = {
  name: accountName
}

@batchSize(1)
resource role 'Microsoft.DocumentDB/databaseAccounts/sqlRoleDefinitions@2025-10-15' = [for each in declared.roles: {
  parent: account
  name: guid(account.id, each.name)
  properties: {
    roleName: 'Kraftd ${each.name}'
    type: 'CustomRole'
    assignableScopes: [ account.id ]
    permissions: [ { dataActions: each.dataActions } ]
  }
}]

@batchSize(1)
resource ofApp 'Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments@2025-10-15' = [for each in declared.grants.app: {
  parent: account
  name: guid(account.id, appPrincipalId, each.role, each.scope)
  properties: {
    principalId: appPrincipalId
    roleDefinitionId: '${account.id}/sqlRoleDefinitions/${guid(account.id, each.role)}'
    scope: '${account.id}${each.scope}'
  }
  dependsOn: [ role ]
}]

@batchSize(1)
resource ofErasure 'Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments@2025-10-15' = [for each in declared.grants.erasure: {
  parent: account
  name: guid(account.id, erasurePrincipalId, each.role, each.scope)
  properties: {
    principalId: erasurePrincipalId
    roleDefinitionId: '${account.id}/sqlRoleDefinitions/${guid(account.id, each.role)}'
    scope: '${account.id}${each.scope}'
  }
  dependsOn: [ ofApp ]
}]

@batchSize(1)
resource ofOperator 'Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments@2025-10-15' = [for each in operatorGrants: {
  parent: account
  name: guid(account.id, operatorPrincipalId, each.role, each.scope)
  properties: {
    principalId: operatorPrincipalId
    roleDefinitionId: '${account.id}/sqlRoleDefinitions/${guid(account.id, each.role)}'
    scope: '${account.id}${each.scope}'
  }
  dependsOn: [ ofErasure ]
}]
