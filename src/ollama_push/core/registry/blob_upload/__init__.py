"""The upload of one blob: the machine, the meaning of responses, the sizes of parts."""
