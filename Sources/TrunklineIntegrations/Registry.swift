package import TrunklineCore

extension CarrierRegistry {
    /// Every carrier of this program.
    package static let standard = CarrierRegistry(line: EZWhatsAppCarrier(), destinations: [StandardWebhooksCarrier()])
}

extension SourceRegistry {
    /// Every kind of source of this program.
    package static let standard = SourceRegistry([
        ShopifySource(), WooCommerceSource(), CustomSource.custom, CustomSource.appointments, FormSource(),
        CalendlySource(),
        CalComSource(), MetaLeadsSource(), GoogleAdsSource(), HubSpotSource(), PipedriveSource(), ZohoSource(),
        CustomSource.sheets, GoogleCalendarSource(), SalesforceSource(),
    ])
}
