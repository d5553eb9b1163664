"""The testing kit: a scripted server, in-memory transports, a registry, the transport contract, strategies.

Everything works without pytest; ``strategies`` needs the extra ``testing`` (hypothesis).
"""
