"""`vicinal tables`, in a checkout that is not installed."""

from vicinal.commands.tables import main

main()
