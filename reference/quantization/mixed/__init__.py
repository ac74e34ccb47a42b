"""Mixed precision: how many bits each layer gets, when together they may cost so much."""
