"""`vicinal export`, started from a checkout."""

from vicinal.commands.export import main

main()
