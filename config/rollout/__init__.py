"""Published plans of where the one code counts from when on, as data files: what ``tongting rollout enter`` enters."""
