"""Object stores: the contract, and what implements it."""
