from vicinal.train import main

main()
