"""The steps in containers on this machine: kfp's own Docker runner, with nothing of the machine that was not named."""
