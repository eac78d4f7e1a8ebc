"""What came of a run, as one file that can be read anywhere: `rsft report`. It only reads the run folder."""
