"""What the command line's parser is made of: its help, the options that commands share, groups of commands."""
