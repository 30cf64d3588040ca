"""The controls of five frameworks as data: one module for each framework, one place for each control."""
