"""The way of one upload from its body to the store. What happens after it is stored is not here."""
