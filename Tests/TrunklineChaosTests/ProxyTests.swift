import Testing
import TrunklineChaos
