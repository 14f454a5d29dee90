"""The way of one upload: body, inspection, store. What happens after it is stored is not here."""
