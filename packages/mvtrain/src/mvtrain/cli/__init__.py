"""The command `mvtrain`: one module per subcommand."""
