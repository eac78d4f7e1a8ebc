"""The commands, by what one wants. Each only reads its arguments and calls what does the work; heavy imports wait until
then."""
