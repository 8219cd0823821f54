"""What is installed, shown to people: cards of components and the matrix of what runs where."""
