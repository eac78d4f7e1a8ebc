"""What came of a run, as one file that can be read anywhere: `rsft report`. It reads the run folder and writes there."""
