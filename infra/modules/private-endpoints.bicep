// Private endpoints of what holds data, and the names by which the apps find them.
param location string
param tags object
param prefix string
param networkId string
param subnetId string

@description('What gets an endpoint: name, id, group and zone.')
param targets array

@description('Private DNS zones, each once.')
param zones array

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = [for each in zones: {
  name: each
  location: 'global'
  tags: tags
}]

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (each, i) in zones: {
  parent: zone[i]
  name: 'network'
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: { id: networkId }
  }
}]

resource endpoint 'Microsoft.Network/privateEndpoints@2024-05-01' = [for each in targets: {
  name: '${prefix}${each.name}'
  location: location
  tags: tags
  properties: {
    subnet: { id: subnetId }
    privateLinkServiceConnections: [
      {
        name: each.name
        properties: {
          privateLinkServiceId: each.id
          groupIds: [ each.group ]
        }
      }
    ]
  }
}]

resource names 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = [for (each, i) in targets: {
  parent: endpoint[i]
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: each.name
        properties: {
          privateDnsZoneId: resourceId('Microsoft.Network/privateDnsZones', each.zone)
        }
      }
    ]
  }
  dependsOn: [ zone ]
}]
