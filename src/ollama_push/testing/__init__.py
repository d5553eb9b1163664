"""The shipped testing kit: scripted peers, in-memory transports, the transport contract, strategies.

Everything works without pytest; ``strategies`` needs the extra ``testing`` (hypothesis).
"""
