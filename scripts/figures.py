"""`vicinal figures`, started from a checkout."""

from vicinal.commands.figures import main

main()
