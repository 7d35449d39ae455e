"""Field names in twelve languages: what they claim, and the ordinary names that claim nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.detectors.names import LEXICON_DIGEST, read_name, tokens
from scanner.model import KINDS

# A name that speaks alone, and the kind it names.
SPEAKS = {
    "biometric.face": """
        face_embedding faceEmbedding FaceEmbedding face-embedding FACE_EMBEDDING
        faceembedding face_embeddings
        face_feature face_json face_encoding face_template face_vector face_descriptor
        facial_features face_image
        faceImage face_img face_photo facePhoto face_bytes face.bytes face_landmarks
        face_hash faceprint arcface
        vgg_face_4096 facenet512 selfie headshot mugshot passport_photo profile_photo
        jpegPhoto thumbnailPhoto
        person.face_embedding user.profile.face_vector badge_photo
        얼굴사진 얼굴_사진 고객얼굴사진 얼굴이미지 안면정보 안면인식정보 얼굴특징벡터
        얼굴특징점 증명사진 여권사진 얼굴임베딩
        顔写真 顔画像 顔特徴量 顔_写真 顔認証データ
        人脸特征 人脸的向量 人脸照片 人脸图像 用户人脸照片 人臉特徵 人臉影像 证件照 自拍照
        foto_rostro imagen_rostro codificaciones_faciales plantilla_facial cara_imagen vector_rostro
        photo_visage gabarit_visage photo_identité image_visage
        Gesichtsbild Gesichtsvektor gesicht_bild passbild Lichtbild
        foto_rosto modelo_facial imagem_rosto
        chehra_photo chehre_vector
        صورة_الوجه صورة_شخصية قالب_الوجه
        фото_лица шаблон_лица вектор_лица изображение_лица""",
    "biometric.fingerprint": """
        fingerprint fingerprints fingerprint_image fingerprint_template finger_print
        thumbprint minutiae
        finger_image left_index_finger_template fmd 지문특징점 지문이미지 지문정보
        지문템플릿 손가락이미지
        指纹 指纹特征 指紋 指紋データ imgHuella huella_dactilar huella_digital dedo_imagen
        empreinte_digitale Fingerabdruck impressão_digital ungli_chhap بصمة_اصبع صورة_بصمة
        отпечаток_пальца отпечатки_пальцев""",
    "biometric.palm": "palmprint palm_print palm_image hand_geometry 掌纹 掌紋 손바닥이미지",
    "biometric.vein": "finger_vein palm_vein vein_template 지정맥 정맥패턴_정맥이미지 "
    "指静脉 静脈データ",
    "biometric.iris": "iris_template iris_code irisCode iris_image left_iris_scan "
    "홍채 홍채정보 홍채이미지 虹膜 虹彩 قزحية",
    "biometric.retina": "retina_scan retina_image 망막이미지 망막정보 视网膜图像 網膜画像",
    "biometric.voice": """
        voiceprint voice_print voice_embedding speaker_embedding voice_template voice_sample
        x_vector 성문특징 음성특징벡터
        声纹 聲紋 声紋 huella_vocal шаблон_голоса بصمة_صوت""",
    "biometric.gait": "gait gait_features gait_embedding 걸음걸이 步态 歩容 походка",
    "biometric.dna": "dna_profile dna_sample genetic_data 유전자정보 perfil_genetico профиль_днк",
    "biometric.signature": "signature_image handwritten_signature 서명이미지 签名图片 "
    "署名画像 firma_imagen подпись_скан",
    "biometric.keystroke": "keystrokes keystroke_dynamics typing_pattern 키스트로크",
    "identifier.passport": """
        passport passport_no passportNo passport_number passportnumber passport_hash
        PASSPORT_ID 여권번호 고객여권번호
        护照号 護照號碼 旅券番号 パスポート番号 pasaporte numero_pasaporte passeport
        reisepassnummer Reisepass passaporte
        جواز_السفر رقم_جواز_السفر номер_паспорта паспорт""",
    "identifier.national_id": """
        ssn rrn social_security_number national_id NationalID jumin_no 주민등록번호 주민번호
        고객주민등록번호 외국인등록번호
        운전면허번호 身份证号 身份证号码 身分證字號 マイナンバー 在留カード番号 dni curp cpf
        aadhaar aadhaar_number
        personalausweis codice_fiscale alien_registration_no arc_no id_card_number
        driver_license_number снилс""",
    "identifier.subject_id": """
        person_id personId PersonID subject_id employee_no employee_id emp_no patient_id
        PassengerId participant_id
        student_id speaker_id badge_no 사번 사원번호 직원번호 환자번호 학번 社員番号
        患者番号 工号 员工编号
        Personalnummer Mitarbeiternummer empleado_id id_empleado табельный_номер""",
    "identifier.name": """
        full_name fullName first_name last_name surname family_name given_names
        employee_name patientName 성명 고객명
        한글성명 氏名 姓名 apellidos nombre_completo prénom nom_de_famille Vorname Nachname
        sobrenome фио фамилия""",
    "attribute.nationality": """
        nationality Nationality nationality_code native-country country_of_birth citizenship
        국적 출입국자국적 国籍 國籍
        nacionalidad nationalité Nationalität Staatsangehörigkeit nacionalidade الجنسية
        гражданство rashtriyata""",
    "attribute.gender": "gender Gender sex person_sex 성별 고객성별 性别 性別 sexo "
    "sexe Geschlecht الجنس gender_code",
    "attribute.age": """
        date_of_birth dob birthDate birth_year age_group patient_age person_age subject_age
        나이 연령 연령대 생년월일
        年齢 年龄 年齡 生年月日 出生日期 edad fecha_nacimiento Geburtsdatum idade العمر
        возраст дата_рождения""",
    "attribute.ethnicity": "ethnicity ethnic_group skin_tone fitzpatrick 인종 민족 "
    "种族 人種 etnia ethnie Hautfarbe",
    "document.mrz": "mrz MRZ mrz_line1 mrz_text machine_readable_zone",
}  # fmt: skip

# Ordinary names that claim nothing strongly, whatever stands beside them.
SILENT = """
    surface interface facet facets facebook facebook_id typeface interfaces preface Surface
    surfaceArea user_interface
    HuggingFace huggingface_id hugging_face_hub sims_face anime_face cartoon_face_image
    face_value face_amount boldface
    face_vertices face_normals mesh_faces n_faces num_faces has_face face_count
    face_confidence face_path face_image_path
    face_url face_bbox face_width face_quality is_face_detected face_score number_of_faces
    face_model face_file
    표면 인터페이스 표면적 측면 정면 화면 속성별 다국적 설문지문항 음성검사 질문 정답
    파일이름 상품이름 얼굴개수 얼굴인식여부
    얼굴사진경로 表面 界面 画面 方面 顔料 顔文字 洗顔 笑顔 脸书 人脸数量 指数 指標 路径 编号 名称
    embedding embeddings text_embedding word_embedding clip_embedding sentence_embedding
    image_embedding feature features
    feature_1 vector query_vector template template_id encoding descriptor encoding_type
    token_embeddings doc_embedding
    signature function_signature api_signature signature_hash signature_bytes jwt_signature
    gene_signature
    device_fingerprint browser_fingerprint ssh_fingerprint key_fingerprint
    morgan_fingerprint cert_fingerprint_sha256
    smiles iris iris_species palm palm_oil palm_tree_count voice voice_actor voice_channel
    voicemail retina_display
    vein ore_vein retinanet finger race race_id race_time race_name lap_time race_date
    finish_position
    age house_age HouseAge max_age cache_age account_age age_rating vehicle_age min_age
    domain_age image page message stage
    usage average package language coverage mileage storage percentage voltage wage manager
    garage percentage_age
    passport_expiry passport_issue_date passport_status has_passport passport_type
    passport_path photo image_path photo_url
    picture avatar img thumbnail name file_name filename column_name product_name
    company_name host_name display_name
    username user_name event_name nickname brand_name sheet_name class_name function_name
    gene_name species_name
    user_id customer_id client_id account_id order_id session_id product_id item_id id uuid
    key code country city
    country_code region state zip postcode address email phone latitude longitude sex_ratio
    gender_gap gender_pay_gap
    grammatical_gender number no count arc angle_arc nir nir_band near_infrared pan
    pan_angle tilt dna_methylation
    genero genre ling naam nome nom nombre имя пол номер дата путь الاسم رقم id_type subject
    speaker person identity
    """.split()  # noqa: SIM905

# Columns of common data sets; the second word is the one kind that a name there does claim.
ORDINARY = {
    "titanic": "Survived Pclass SibSp Parch Ticket Fare Cabin Embarked boat body "
    "home.dest alone who adult_male deck",
    "adult": "workclass fnlwgt education education-num marital-status occupation "
    "relationship capital-gain capital-loss "
    "hours-per-week income class",
    "mnist": "label pixel0 pixel1 pixel783 image 1x1 28x28 digit split",
    "coco": "info licenses images annotations categories segmentation area iscrowd "
    "image_id bbox category_id id width "
    "height file_name coco_url flickr_url date_captured supercategory keypoints "
    "num_keypoints skeleton license caption",
    "web logs": "remote_addr remote_user time_local request status body_bytes_sent "
    "http_referer http_user_agent host "
    "method path query_string protocol response_time upstream bytes_sent trace_id "
    "span_id level logger message thread "
    "client_ip server_name ssl_cipher ssl_protocol referrer session_id page_url "
    "page_title landing_page utm_source",
    "shop": "order_id customer_id sku product_name brand price currency quantity "
    "discount total_price shipping_address "
    "billing_address payment_method coupon_code category subcategory rating "
    "review_text stock warehouse supplier_id cart "
    "wishlist is_featured image_url description weight dimensions tax invoice_no "
    "StockCode Description Quantity "
    "InvoiceDate UnitPrice CustomerID",
    "genomics": "sequence gene gene_id gene_name chromosome chrom start end strand "
    "transcript exon variant ref alt qual "
    "filter rsid allele_frequency read_depth mapq cigar organism taxon_id "
    "protein_sequence uniprot_id kmer gc_content",
    "sensors": "timestamp temperature humidity pressure voltage current power accel_x "
    "accel_y gyro_z mag_x sensor_id "
    "device_id battery rssi snr altitude heading speed wind_direction rainfall co2 "
    "pm25 lux vibration rpm torque flow",
    "finance": "open high low close adj_close volume ticker symbol isin cusip "
    "trade_date settle_date coupon maturity yield "
    "spread notional counterparty face_value strike expiry option_type delta gamma "
    "vega theta rho account_no balance "
    "interest_rate loan_amount term grade annual_inc dti revol_util fico_range_low "
    "iban swift_code merchant mcc",
    "housing": "MedInc HouseAge AveRooms AveBedrms Population AveOccup Latitude "
    "Longitude MedHouseVal crim zn indus chas "
    "nox rm dis rad ptratio lstat medv ocean_proximity SalePrice LotArea YearBuilt "
    "GarageCars Neighborhood",
    "iris": "sepal_length sepal_width petal_length petal_width species variety target "
    "SepalLengthCm Id",
    "vehicles": "mpg cylinders displacement horsepower weight acceleration model_year "
    "origin make model engine_size "
    "transmission fuel_type odometer color vin license_plate doors",
    "text": "text title content document paragraph summary question answer context "
    "answers.text answers.answer_start "
    "premise hypothesis sentence1 sentence2 idx tokens ner_tags pos_tags lemma "
    "language source url domain quality_score "
    "instruction output prompt response chosen rejected conversation messages role",
    "weather, code, games": "station elevation precipitation snowfall commit_hash "
    "author_email repo stars forks issue_no "
    "pull_request diff lines_added player_score level_reached achievement guild elo "
    "rating_white rating_black opening_eco "
    "raceId driverId constructorId circuitId grid positionOrder points laps "
    "milliseconds fastestLap statusId",
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in SPEAKS.items() for name in names.split()]
)
def test_name_speaks(kind: str, name: str) -> None:
    claims = read_name(name).claims
    assert [claim.strength for claim in claims if claim.kind == kind] == ["strong"], claims


@pytest.mark.parametrize("name", SILENT)
def test_name_alone_is_silent(name: str) -> None:
    assert [claim for claim in read_name(name).claims if claim.strength == "strong"] == []


@pytest.mark.parametrize(
    ("source", "name"),
    [(source, name) for source, names in ORDINARY.items() for name in names.split()],
)
def test_ordinary_columns_are_silent(source: str, name: str) -> None:
    strong = [claim for claim in read_name(name).claims if claim.strength == "strong"]
    assert strong == [], source


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("HTTPServerError", ["http", "server", "error"]),
        ("faceImage2Vec_512", ["face", "image", "vec"]),
        ("photo_identité", ["photo", "identite"]),
        ("ＦＡＣＥ＿ＩＤ", ["face", "id"]),
        ("고객얼굴사진", ["고객", "얼굴사진"]),
        ("顔写真ID", ["顔写真", "id"]),
        ("在留カード番号", ["在留カード番号"]),
        ("", []),
        ("___", []),
    ],
)
def test_tokens(name: str, expected: list[str]) -> None:
    assert tokens(name) == expected


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_name_is_read(name: str) -> None:
    for claim in read_name(name).claims:
        assert claim.kind in KINDS


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="얼굴지문사진顔写真人脸面_.aAfaceFACE1", max_size=40))
def test_names_of_mixed_scripts_are_read(name: str) -> None:
    assert read_name(name) == read_name(name)


def test_a_very_long_name_is_cut() -> None:
    assert read_name("x" * 1_000_000 + "_face_embedding").claims == ()


def test_digest_names_the_lexicon() -> None:
    assert len(LEXICON_DIGEST) == 10
