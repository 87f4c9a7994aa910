"""`vicinal evaluate`, started from a checkout."""

from vicinal.commands.evaluate import main

main()
