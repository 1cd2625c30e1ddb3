"""`python -m wsi_specdec` is `wsi-specdec`."""

from wsi_specdec.cli import main

if __name__ == "__main__":
    main()
