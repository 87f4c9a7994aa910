"""`vicinal fetch`, started from a checkout."""

from vicinal.commands.fetch import main

main()
