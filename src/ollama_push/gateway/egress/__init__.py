"""The addresses that the gateway may reach, and the transport that reaches no others."""
