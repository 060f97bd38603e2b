"""The claim locks, one file each: how a worker comes to an obligation. `composed` names them."""
