"""What persons may ask about their own data: erasure (GDPR article 17), and the register of their requests."""
