"""Which addresses the gateway may reach, and the transport that holds to it."""
