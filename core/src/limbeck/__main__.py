"""`python -m limbeck`, which is what `torchrun -m limbeck distill ...` starts."""

from limbeck.cli import main

if __name__ == "__main__":
    main()
