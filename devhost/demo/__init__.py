"""The app at its main job, on real traffic: eight attacks are found, and whoever is not attacked has no alert."""
