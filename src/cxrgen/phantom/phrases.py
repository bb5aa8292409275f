"""The lexicon: how each finding is said when it is there, doubtful, changed, summed up, or not there.

Sentences are general radiology English, none of them from a real report. `parser` reads them all back exactly; a phrase
added here is covered by its round-trip test.
"""

from __future__ import annotations

PRESENT = {
    "cardiomegaly": ("The heart is enlarged.", "The cardiac silhouette is enlarged.", "There is cardiomegaly."),
    "effusion": (
        "There is a {size} {side} pleural effusion.",
        "A {size} {side} pleural effusion is present.",
        "A {size} pleural effusion is seen on the {side}.",
    ),
    "pneumothorax": (
        "There is a {size} {side} pneumothorax.",
        "A {size} {side} pneumothorax is present.",
        "A {size} pneumothorax is seen on the {side}.",
    ),
    "opacity": (
        "There is an opacity in the {lobe}.",
        "An opacity is present in the {lobe}.",
        "Airspace opacity is seen in the {lobe}.",
    ),
    "edema": ("There is pulmonary edema.", "Pulmonary edema is present.", "The appearance is that of pulmonary edema."),
    "nodule": (
        "There is a nodule in the {side} lung.",
        "A {side} lung nodule is seen.",
        "A nodule projects over the {side} lung.",
    ),
    "atelectasis": (
        "There is linear atelectasis at the {side} base.",
        "Linear atelectasis is seen on the {side}.",
        "A band of atelectasis is present at the {side} base.",
    ),
    "hyperinflation": (
        "The lungs are hyperinflated.",
        "There is hyperinflation.",
        "The lungs are hyperinflated with flat diaphragms.",
    ),
    "fracture": (
        "There is a {side} rib fracture.",
        "A {side} rib fracture is seen.",
        "A displaced {side} rib fracture is present.",
    ),
    "et_tube": (
        "An endotracheal tube ends {cm} cm above the carina.",
        "The endotracheal tube tip is {cm} cm above the carina.",
        "Tip of the endotracheal tube lies {cm} cm above the carina.",
    ),
    "central_line": (
        "There is a {side} central venous line.",
        "A {side} central venous catheter is in place.",
        "A {side} jugular central venous catheter ends in the SVC.",
    ),
    "pacemaker": ("There is a pacemaker.", "A pacemaker is in place.", "A pacemaker with a single lead is present."),
    "chest_tube": (
        "There is a {side} chest tube.",
        "A {side} chest tube is in place.",
        "A chest tube is present on the {side}.",
    ),
    "sternal_wires": (
        "There are sternal wires.",
        "Sternal wires are present.",
        "Median sternotomy wires are intact.",
    ),
}
DOUBTFUL = {  # for what stands out little from the grain of the image
    "opacity": (
        "There may be an opacity in the {lobe}.",
        "A subtle opacity in the {lobe} is possible.",
        "A faint opacity in the {lobe} cannot be excluded.",
    ),
    "nodule": (
        "There may be a nodule in the {side} lung.",
        "A possible {side} lung nodule is noted.",
        "A small nodule in the {side} lung cannot be excluded.",
    ),
    "atelectasis": (
        "There is likely linear atelectasis at the {side} base.",
        "A faint line at the {side} base may represent atelectasis.",
        "Probable linear atelectasis on the {side}.",
    ),
}
CHANGED = {
    "effusion": {
        "new": ("There is a new {size} {side} pleural effusion.", "A {size} {side} pleural effusion is new."),
        "increased": ("A {size} {side} pleural effusion has increased.", "Increased {size} {side} pleural effusion."),
        "decreased": ("A {size} {side} pleural effusion has decreased.", "Decreased {size} {side} pleural effusion."),
        "unchanged": ("A {size} {side} pleural effusion is unchanged.", "Unchanged {size} {side} pleural effusion."),
        "resolved": ("The previous pleural effusion has resolved.", "The pleural effusion seen before has resolved."),
    },
    "opacity": {
        "new": ("There is a new opacity in the {lobe}.", "An opacity in the {lobe} is new."),
        "unchanged": ("An opacity in the {lobe} is unchanged.", "Unchanged opacity in the {lobe}."),
        "resolved": ("The previous opacity has resolved.", "The opacity seen before has resolved."),
    },
}
SUMMARY = {
    "cardiomegaly": "cardiomegaly.",
    "effusion": "{size} {side} pleural effusion.",
    "pneumothorax": "{size} {side} pneumothorax.",
    "opacity": "{lobe} opacity.",
    "edema": "pulmonary edema.",
    "nodule": "{side} lung nodule.",
    "atelectasis": "{side} linear atelectasis.",
    "hyperinflation": "hyperinflation.",
    "fracture": "{side} rib fracture.",
    "et_tube": "endotracheal tube {cm} cm above the carina.",
    "central_line": "{side} central venous line.",
    "pacemaker": "pacemaker.",
    "chest_tube": "{side} chest tube.",
    "sternal_wires": "sternal wires.",
}
CAUSED = (
    "In this setting the opacity most likely represents {cause}.",
    "The opacity is most compatible with {cause}.",
    "Given the history, {cause} is the likely cause of the opacity.",
)
ABSENT = {
    "cardiomegaly": (
        "The heart size is normal.",
        "The cardiac silhouette is not enlarged.",
        "There is no cardiomegaly.",
    ),
    "effusion": ("There is no pleural effusion.", "No pleural effusion is seen.", "No pleural effusion is present."),
    "pneumothorax": ("There is no pneumothorax.", "No pneumothorax is seen.", "No pneumothorax is present."),
    "opacity": ("There is no focal opacity.", "No focal opacity is seen.", "The lungs are free of focal opacity."),
    "edema": ("There is no pulmonary edema.", "No pulmonary edema is seen.", "The lungs are without edema."),
    "nodule": ("There is no nodule.", "No nodule is seen.", "The lungs are without nodules."),
    "atelectasis": ("There is no atelectasis.", "No atelectasis is seen.", "No atelectasis is present."),
    "hyperinflation": (
        "The lungs are normally inflated.",
        "There is no hyperinflation.",
        "Lung inflation is normal.",
    ),
    "fracture": ("There is no rib fracture.", "No rib fracture is seen.", "The ribs are without fracture."),
}
BORDERLINE = ("The heart size is borderline.", "The heart size is at the upper limit of normal.")
NOUNS = {  # as listed in grouped negations
    "effusion": "pleural effusion",
    "pneumothorax": "pneumothorax",
    "opacity": "focal opacity",
    "edema": "pulmonary edema",
    "nodule": "nodule",
    "atelectasis": "atelectasis",
    "hyperinflation": "hyperinflation",
    "fracture": "rib fracture",
}
GROUPED = ("There is no {list}.", "No {list}.", "No evidence of {list}.", "The chest is free of {list}.")
NORMAL = ("No acute cardiopulmonary process.", "No acute cardiopulmonary abnormality.")
AS_ABOVE = "As above."
NO_DEVICES = "No devices."

GRAINY = ("Image quality is limited by noise.", "The films are grainy.")
UNDEREXPOSED = ("The film is underpenetrated.", "Penetration is limited.")
ALWAYS_TRUE = (  # of every scene; they tell nothing
    "Two views of the chest are submitted.",
    "The mediastinal contours are normal.",
    "The upper abdomen is unremarkable.",
    "The hilar contours are normal.",
    "The trachea is midline.",
)
NOTIFIED = ("Dr. ___ was informed by telephone at ___.", "These results were discussed with Dr. ___.")
COMPARED = ("Comparison is made to the study of ___.", "The study is compared to ___.")
STRAY = (  # of a study that has no earlier one
    "Otherwise little change since the prior study of ___.",
    "The remainder is stable compared to ___.",
)

INDICATIONS = {  # why the images were taken, by the cause of an opacity that it speaks for
    "pneumonia": ("Fever and cough.", "Productive cough and chills.", "___ year old with fever."),
    "contusion": ("Motor vehicle collision.", "Fall from a height.", "___ year old after blunt trauma."),
    "": ("Shortness of breath.", "Chest pain.", "Preoperative evaluation.", "___ year old with dyspnea.", "Follow-up."),
}
ODD_HEADERS = {  # for the whole text, and which section each is; the official parser does not know the last
    "FINDINGS AND IMPRESSION": "impression",
    "FINDINGS/IMPRESSION": "impression",
    "CONCLUSION": "impression",
    "IMPRESSON": "impression",
    "CHEST, TWO VIEWS": "findings",
    "PORTABLE CHEST": "findings",
    "OPINION": "impression",
}
