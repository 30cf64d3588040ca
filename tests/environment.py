"""What the environment says of an account, taken out of it: no test may reach one but the storage suite that asks here.

Whoever tried the app out on Cosmos DB may have the settings still exported in the shell that runs the tests.
"""

import os

ACCOUNT = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("COSMOS_DB_")}
