"""`python cli.py COMMAND` runs embedpipe from a checkout; the installed script `embedpipe` is the same program."""

if __name__ == "__main__":  # render workers import this file again and must not pull in the command line
    from embedpipe.commands import main

    main()
