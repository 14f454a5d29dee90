"""Servers, clients and files that tests share; no test is here."""
