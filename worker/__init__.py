"""The reading room: owns one network on one device."""
