FLASK_APP=modelhub.cli
