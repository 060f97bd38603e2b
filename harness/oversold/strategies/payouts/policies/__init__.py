"""The settlement policies, one file each: how a claimed obligation is paid. `composed` names them."""
