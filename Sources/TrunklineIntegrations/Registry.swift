package import TrunklineCore

extension CarrierRegistry {
    /// Every carrier of this program.
    package static let standard = CarrierRegistry(line: EZWhatsAppCarrier(), destinations: [StandardWebhooksCarrier()])
}
