from gateway import cli

cli.main()
